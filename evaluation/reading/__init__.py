"""From the text of a prompt to what it asks for, where no facts come with it: a parser by name, and rules over it."""
