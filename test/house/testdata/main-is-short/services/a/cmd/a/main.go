package main

// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
// A line too many.
func main() {}
