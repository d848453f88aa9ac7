"""From pictures to vectors: encoders behind one protocol, how pictures come to them, and features on disk."""
