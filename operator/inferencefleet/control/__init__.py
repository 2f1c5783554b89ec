"""The imperative shell: gather -> plan -> validate -> apply -> report."""
