"""What the verbs of the command line do, over `jaxqc.api`; nothing heavy is imported before one of them runs."""
