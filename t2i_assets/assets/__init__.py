"""The assets, thin: each reads its inputs, calls plain functions or launches a job, and shows what came out."""
