"""What stands on a page: links, tags, licence, images and every text about them."""
