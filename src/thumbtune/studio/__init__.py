"""The studio: a local web page on which people import, judge and train, over the same functions as the commands."""
