"""Making data sets in the layout that the configs expect, from official downloads."""
