"""The paper's tasks: what a batch is, the loss, the metrics; nothing about training loops."""
