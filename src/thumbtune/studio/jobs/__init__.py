"""The jobs of the studio: commands in processes of their own, which outlive the browser and the studio."""
