package schema

import "sync"

// BlobFS is what an fs.FS may offer besides: the identity of a file's content without reading
// it. Git trees have it. Equal ids mean equal content.
type BlobFS interface {
	// BlobID returns false where it does not know the file. It may be called concurrently.
	BlobID(path string) (id string, ok bool)
}

// Cache keeps decoded files from one Parse to the next, so that only what changed is decoded
// and unchanged documents keep their pointers. A file is known by its path, which is part of
// every position, and its content. The zero value is ready; a nil *Cache keeps nothing. A Cache
// may be used by one Parse at a time.
type Cache struct {
	mu    sync.Mutex
	files map[cacheKey]*cached
	turn  int

	// The files of the last Parse and all their identities, so that the next one need not look
	// at every document to know that none is declared twice.
	last []*parsedFile
	ids  map[ID]*Document
}

// cacheKey has the blob's id where the tree knows it, else the text itself.
type cacheKey struct {
	path, blob, text string
}

type cached struct {
	file *parsedFile
	turn int // of the last Parse that used it
}

func (c *Cache) begin() {
	if c == nil {
		return
	}
	if c.files == nil {
		c.files = map[cacheKey]*cached{}
	}
	c.turn++
}

func (c *Cache) find(key cacheKey) *parsedFile {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.files[key]
	if e == nil {
		return nil
	}
	e.turn = c.turn
	return e.file
}

func (c *Cache) store(key cacheKey, f *parsedFile) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[key] = &cached{file: f, turn: c.turn}
}

// end forgets what the last two parses did not use, once that is as much again as a tree has;
// two, because a plan reads a base and a head in turn.
func (c *Cache) end(used int) {
	if c == nil || len(c.files) <= 2*used+64 {
		return
	}
	for key, e := range c.files {
		if e.turn < c.turn-1 {
			delete(c.files, key)
		}
	}
}

// unique reports whether it is certain that no identity is declared twice in files, which are
// sorted by name and have that many documents.
func (c *Cache) unique(files []*parsedFile, documents int) bool {
	if c == nil {
		return false
	}
	if c.ids == nil {
		c.ids = make(map[ID]*Document, documents)
	}
	removed, added := differ(c.last, files)
	for _, f := range removed {
		for _, doc := range f.documents {
			if id := doc.ID(); c.ids[id] == doc {
				delete(c.ids, id)
			}
		}
	}
	for _, f := range added {
		for _, doc := range f.documents {
			c.ids[doc.ID()] = doc
		}
	}
	c.last = files
	if len(c.ids) == documents {
		return true
	}
	c.last, c.ids = nil, nil // of two with one identity only one is in ids: start anew
	return false
}

// differ compares two lists of files sorted by name.
func differ(before, after []*parsedFile) (removed, added []*parsedFile) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(before) > 0 && len(after) > 0 && before[0] == after[0]:
			before, after = before[1:], after[1:]
		case len(after) == 0 || len(before) > 0 && before[0].name <= after[0].name:
			removed = append(removed, before[0])
			before = before[1:]
		default:
			added = append(added, after[0])
			after = after[1:]
		}
	}
	return removed, added
}
