package addon

// ConfigurationSchema is the JSON schema of an add-on's configuration. Its names
// are those of AWS' add-on. The image is not among them: who may make an add-on
// could run any program with the operator's rights.
const ConfigurationSchema = `{
  "$schema": "http://json-schema.org/draft-06/schema#",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "replicaCount": {"type": "integer", "minimum": 1, "maximum": 10, "description": "pods of the operator; one of them works, all serve webhooks"},
    "nodeSelector": {"type": "object", "additionalProperties": {"type": "string"}},
    "tolerations": {"type": "array", "items": {"type": "object"}},
    "affinity": {"type": "object"},
    "manager": {
      "type": "object",
      "additionalProperties": false,
      "properties": {"resources": {"type": "object"}}
    }
  }
}`
