"""Results to text: pure functions, one module per thing shown."""
