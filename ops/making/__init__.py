"""Making pictures for catalogs: jobs go in, outcomes come out, whoever computes."""
