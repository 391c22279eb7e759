// Home: four steps, with their state and what to do next.
