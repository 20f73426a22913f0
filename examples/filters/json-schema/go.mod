module example.org/json-schema

go 1.24
