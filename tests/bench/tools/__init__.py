"""How each tool is called: one module a tool, one function a verb. What is not measured is said to be preparation."""
