"""The producer's commands, by what they are about; ``memrepo.cli.table`` lists them."""
