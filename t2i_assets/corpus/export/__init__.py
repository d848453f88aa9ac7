"""A blend as a data set for other tools: captions drawn as the trainers draw them, images as they are stored."""
