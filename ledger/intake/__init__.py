"""Import: files of FHIR resources, or of plain rows, into tables of a hospital's database, all of them or none."""
