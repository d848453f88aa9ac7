"""Parts of the first stage: the queue, the reader, the files and the ledger of pages."""
