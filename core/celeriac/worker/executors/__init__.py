"""Who runs the tasks: executors in processes of their own, or in threads of this one."""
