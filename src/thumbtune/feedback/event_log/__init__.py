"""Event logs: labels for training straight from Parquet files, computed out of core, without a store."""
