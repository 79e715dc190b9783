"""Annotated images of whoever has some, brought into the form that ``FolderDataset`` reads."""
