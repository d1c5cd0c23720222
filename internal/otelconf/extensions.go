package otelconf

import (
	"time"
)

// extensions decodes every extension, used or not, applies what they turn on and
// returns those that authenticate by id.
func (l *loader) extensions(all map[string]*component) map[string]*authenticator {
	auth := map[string]*authenticator{}
	for _, id := range sortedKeys(all) {
		c := all[id]
		switch c.kind {
		case "sigv4auth", "basicauth", "bearertokenauth", "oauth2client", "headers_setter":
			auth[id] = &authenticator{apply: l.authenticator(c), used: c.used}
		case "health_check":
			l.healthCheck(c)
		case "pprof":
			l.pprof(c)
		case "file_storage":
			l.fileStorage(c)
		case "zpages", "memory_ballast":
			if c.used {
				l.note(c.pos, c.path, "is accepted, but has no effect here")
			}
		}
	}
	return auth
}

func (l *loader) healthCheck(c *component) {
	body := struct {
		Endpoint   string `conf:"endpoint"`
		Path       string `conf:"path"`
		TLS        *node  `conf:"tls"`
		Body       *node  `conf:"response_body"`
		Pipeline   *node  `conf:"check_collector_pipeline"`
		Auth       *node  `conf:"auth"`
		CORS       *node  `conf:"cors"`
		Headers    *node  `conf:"response_headers"`
		Port       *node  `conf:"port"`
		Metadata   *node  `conf:"include_metadata"`
		ReadLimit  *node  `conf:"read_header_timeout"`
		Transport  *node  `conf:"transport"`
		ReadTime   *node  `conf:"read_timeout"`
		WriteTime  *node  `conf:"write_timeout"`
		IdleTime   *node  `conf:"idle_timeout"`
		KeepAlives *node  `conf:"keep_alives_enabled"`
	}{Endpoint: DefaultHealthAddress, Path: "/"}
	decodeInto(c.body, c.path, &body, &l.problems)
	if !body.Port.isNull() {
		l.at(body.Port.pos, c.path+".port", "was replaced by endpoint: HOST:PORT")
	}
	if n := c.body.get("endpoint"); n != nil {
		l.checkAddress(body.Endpoint, n.pos, c.path+".endpoint")
	}
	if !body.TLS.isNull() || !body.Auth.isNull() {
		l.at(c.pos, c.path, "tls and auth of the health check are not supported")
	}
	if c.used {
		l.config.HealthAddress, l.config.HealthPath = body.Endpoint, body.Path
	}
}

func (l *loader) pprof(c *component) {
	body := struct {
		Endpoint      string        `conf:"endpoint"`
		BlockFraction int           `conf:"block_profile_fraction"`
		MutexFraction int           `conf:"mutex_profile_fraction"`
		SaveToFile    string        `conf:"save_to_file"`
		Dialer        *node         `conf:"dialer"`
		ReadTimeout   time.Duration `conf:"read_header_timeout"`
	}{Endpoint: DefaultPprofAddress}
	decodeInto(c.body, c.path, &body, &l.problems)
	if n := c.body.get("endpoint"); n != nil {
		l.checkAddress(body.Endpoint, n.pos, c.path+".endpoint")
	}
	if !c.used {
		return
	}
	for _, key := range []string{"block_profile_fraction", "mutex_profile_fraction", "save_to_file"} {
		if e := c.body.entry(key); e != nil && e.value.text != "0" {
			l.note(e.pos, join(c.path, key), "has no effect here")
		}
	}
	l.config.PprofAddress = body.Endpoint
}

func (l *loader) fileStorage(c *component) {
	var body struct {
		Directory   string `conf:"directory"`
		Timeout     *node  `conf:"timeout"`
		Compaction  *node  `conf:"compaction"`
		FSync       *node  `conf:"fsync"`
		Create      *node  `conf:"create_directory"`
		Permissions *node  `conf:"directory_permissions"`
		Recreate    *node  `conf:"recreate"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if c.used {
		l.note(c.pos, c.path, "is accepted, but no component stores anything in it: the queue is kept in the exporter's wal.directory or in --queue-directory")
	}
}
