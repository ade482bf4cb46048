"""Signs demo users in for the web client of a local stack: one click, no password in a browser.

It is a process of this machine, beside the emulator, and no part of what is deployed.
"""
