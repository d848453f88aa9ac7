"""What makes short prompts descriptive: back ends behind one protocol, and the rule that nothing said is lost."""
