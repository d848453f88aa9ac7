"""What a site's owner allows, and where it is said: robots.txt, headers, meta tags, tdmrep.json, purges."""
