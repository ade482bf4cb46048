"""Deploys stacks to an account, and takes them away again."""
