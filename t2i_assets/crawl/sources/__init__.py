"""Where images and texts come from besides a crawled site: archives, lists, folders and tars, one file per kind."""
