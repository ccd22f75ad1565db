"""Manual order: move a task before or after another one."""
