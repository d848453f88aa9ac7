"""From a web site to shards: a plain asyncio library that knows nothing of the orchestrator.

Files in the order in which the data goes: ``pages`` (fetch, robots, consent) → ``pairs`` (html, texts) →
``shards`` (fetch, images). ``human`` fetches the annotated set. Every URL ends as one row of the ledger.
"""
