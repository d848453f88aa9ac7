"""Groups of commands; ``cli`` gathers them. Each command imports what it needs, so that ``--help`` is instant."""
