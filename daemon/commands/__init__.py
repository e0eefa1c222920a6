"""What can be typed after `lorefeed`, one module a noun. Thin: asks the registry and the stages, shows the answer, decides nothing.

Modules import what is heavy inside the command that needs it, so that every other command starts at once.
"""
