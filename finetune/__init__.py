"""The training program: multi-task pre-training and supervised fine-tuning of a QwenAudio model."""
