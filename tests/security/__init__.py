"""One family of tests per class of holes that products of this kind have had."""
