"""Fine-tuning small language models on the one JSON contract and on items; needs the extra `train`."""
