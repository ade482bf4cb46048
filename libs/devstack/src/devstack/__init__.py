"""The local stack: emulator, demo model, deployment, demo."""
