"""People compare generated pictures: ballots, a local page that shows them, votes on disk, and ratings from votes."""
