package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// conditions gives the condition keys that every request has. Those that
// follow from the caller are the Authorizer's to add.
func (rt *Router) conditions(c *Call) map[string][]string {
	r := c.Request
	now := time.Now().UTC()
	keys := make(map[string][]string, 12)
	keys["aws:securetransport"] = []string{strconv.FormatBool(rt.cfg.Proxies.Secure(r))}
	keys["aws:currenttime"] = []string{now.Format(time.RFC3339)}
	keys["aws:epochtime"] = []string{strconv.FormatInt(now.Unix(), 10)}
	if c.Region != "" {
		keys["aws:requestedregion"] = []string{c.Region}
	}
	keys["aws:viaawsservice"] = []string{"false"}
	if ip := rt.cfg.Proxies.ClientAddr(r); ip.IsValid() {
		keys["aws:sourceip"] = []string{ip.String()}
	}
	if agent := r.UserAgent(); agent != "" {
		keys["aws:useragent"] = []string{agent}
	}
	if referer := r.Referer(); referer != "" {
		keys["aws:referer"] = []string{referer}
	}
	if c.Principal.AccountID != "" {
		// Until the resource says otherwise.
		keys["aws:resourceaccount"] = []string{c.Principal.AccountID}
	}
	return keys
}

// accountOf returns the account in an ARN, "" if there is none.
func accountOf(arn string) string {
	for range 4 {
		_, rest, ok := strings.Cut(arn, ":")
		if !ok {
			return ""
		}
		arn = rest
	}
	account, _, _ := strings.Cut(arn, ":")
	return account
}

// host returns the host that the client meant.
func (rt *Router) host(r *http.Request) string {
	if host, ok := rt.cfg.Proxies.ForwardedHost(r); ok {
		return host
	}
	return r.Host
}
