"""What is done in the file, each by one function that takes all the calls of one transaction together."""
