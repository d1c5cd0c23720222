package policy

import "sync"

// Cache parses documents that come with a request again and again, such as
// resource and trust policies, once. The zero value is ready. It is safe for
// concurrent use.
//
// It is bounded by the bytes of the texts and forgets what has not been used for
// long: a full young generation becomes the old one, whose entries move up when
// used. Texts that are refused are not kept.
type Cache struct {
	mu         sync.Mutex
	young, old map[cached]*Document
	size       int // of the texts of the young generation, in bytes
}

// cached is what a document is known by: one text can be good as one kind and
// not as another.
type cached struct {
	kind Kind
	text string
}

// maxCached bounds a generation, in bytes of text.
const maxCached = 4 << 20

// Parse is Parse with a memory.
func (c *Cache) Parse(text string, kind Kind) (*Document, error) {
	if d := c.get(cached{kind, text}); d != nil {
		return d, nil
	}
	d, err := Parse([]byte(text), kind)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(d)
	return d, nil
}

func (c *Cache) get(key cached) *Document {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.young[key]
	if d == nil {
		if d = c.old[key]; d != nil {
			c.put(d)
		}
	}
	return d
}

// put keeps a document under its own text, which is a copy: what a caller's is a
// part of shall not stay.
func (c *Cache) put(d *Document) {
	key := cached{d.kind, d.text}
	if c.young[key] != nil {
		return
	}
	if c.young == nil || c.size+len(key.text) > maxCached {
		c.young, c.old, c.size = make(map[cached]*Document), c.young, 0
	}
	c.young[key] = d
	c.size += len(key.text)
}
