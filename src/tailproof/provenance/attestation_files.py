"""Where the files of attestations and signatures lie; the audit knows them from here."""

FOLDER = "attestation"
"""In the folder of an expert: all that `tailproof attest` writes about it."""

STATEMENT, ENVELOPE = f"{FOLDER}/statement.json", f"{FOLDER}/statement.dsse.json"
RECORDS, FINGERPRINTS = f"{FOLDER}/records", f"{FOLDER}/fingerprints.parquet"
SIGNATURE = "model.sig"
REPRODUCTION, REPRODUCTION_PAGE = "reproduction.json", "reproduction.md"
"""In the folder of a report of `tailproof reproduce`."""

JOBS = "attestations"
STATEMENTS, ENVELOPES = f"{JOBS}/statements", f"{JOBS}/envelopes"
"""Below the folder of an experiment: the statement of each job, and its envelope if signed."""

OF_GIT = (".git", ".gitattributes", ".github", ".gitignore")
"""What OpenSSF Model Signing leaves out of every signature."""
