package members

import (
	"cmp"
	"os"
	"strings"
)

// namespaceFile is where a pod finds the namespace of its service account, which
// is its own.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Here returns the pod that this process runs in: POD_NAMESPACE and POD_NAME,
// else what the service account and the host name say. It is not ok outside
// Kubernetes.
func Here(getenv func(string) string) (namespace, pod string, ok bool) {
	return here(getenv, os.ReadFile, os.Hostname)
}

func here(getenv func(string) string, readFile func(string) ([]byte, error), hostname func() (string, error)) (namespace, pod string, ok bool) {
	if getenv("KUBERNETES_SERVICE_HOST") == "" {
		return "", "", false
	}
	namespace, pod = getenv("POD_NAMESPACE"), cmp.Or(getenv("POD_NAME"), getenv("HOSTNAME"))
	if namespace == "" {
		if text, err := readFile(namespaceFile); err == nil {
			namespace = strings.TrimSpace(string(text))
		}
	}
	if pod == "" {
		pod, _ = hostname() // nothing else can name it
	}
	return namespace, pod, namespace != "" && pod != ""
}
