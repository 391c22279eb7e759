"""The method: losses of denoising errors and labels, utilities and reference points."""
