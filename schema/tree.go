package schema

import (
	"bytes"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Tree is what Parse found.
type Tree struct {
	// Documents are the valid ones, by file and position.
	Documents []*Document
	// Invalid are those with errors, by file and position, with identity as far as it could be
	// read: what they own must be held, not pruned. Kind may be a word that is no kind (a typing
	// mistake). Where Kind or Name is empty, nothing is known of what the document, file or
	// directory said.
	Invalid []*Document

	files []*parsedFile // by name
	once  sync.Once     // for index
	index map[ID]*Document
}

// Lookup returns the valid document of that identity, or nil. It may be called concurrently; the
// first call reads all identities.
func (t *Tree) Lookup(id ID) *Document {
	t.once.Do(func() {
		t.index = make(map[ID]*Document, len(t.Documents))
		for _, doc := range t.Documents {
			t.index[doc.ID()] = doc
		}
	})
	return t.index[id]
}

// Source returns the text of a file of the tree for people to see, nil when it was not read: what
// stands in secret fields is asterisks. It fits Diags.Render.
func (t *Tree) Source(file string) []byte {
	i, ok := slices.BinarySearchFunc(t.files, file, func(f *parsedFile, name string) int { return strings.Compare(f.name, name) })
	if !ok {
		return nil
	}
	return []byte(mask(t.files[i].text))
}

// Parse reads every document below a tree: all *.yaml and *.yml files but dot files and what
// .weftignore lists. It goes on after mistakes and returns all of them, sorted. The result
// depends on the tree only: documents are in the order of file and position. With a cache, a
// file whose content is known is not decoded again and its documents are the same pointers as
// before; cache may be nil. Files are read in parallel, so tree must allow that. Of a tree that is
// too large nothing is used.
func Parse(tree fs.FS, cache *Cache) (*Tree, Diags) {
	return parseTree(tree, cache, &budget{size: maxTreeSize, documents: maxDocuments})
}

func parseTree(tree fs.FS, cache *Cache, left *budget) (*Tree, Diags) {
	w := walk(tree)
	out := &Tree{}
	for _, p := range w.unreadable {
		out.Invalid = append(out.Invalid, &Document{File: p, Pos: Pos{File: p, Line: 1, Col: 1}})
	}
	cache.begin()
	diags := w.diags
	out.files = readAll(tree, w.files, cache, left)
	if left.spent.Load() {
		out.files = nil
		diags.Errorf(Pos{".", 1, 1}, "too-large", "the tree has more than %d documents or %d MiB of text; nothing of it is used", maxDocuments, maxTreeSize>>20)
		out.Invalid = append(out.Invalid, &Document{File: ".", Pos: Pos{".", 1, 1}})
	}
	valid := 0
	for _, f := range out.files {
		valid += len(f.documents)
		out.Documents = append(out.Documents, f.documents...)
		out.Invalid = append(out.Invalid, f.invalid...)
		diags = append(diags, f.diags...)
	}
	if !cache.unique(out.files, valid) {
		out.findDuplicates(&diags)
	}
	cache.end(len(w.files))
	slices.SortStableFunc(out.Invalid, func(a, b *Document) int { return a.Pos.compare(b.Pos) })
	diags.Sort()
	diags.cut(maxTreeDiags, 0)
	return out, diags
}

// findDuplicates takes documents that share an identity out of the valid ones, all of them: which
// one was meant is not known.
func (t *Tree) findDuplicates(ds *Diags) {
	index := make(map[ID]*Document, len(t.Documents))
	var twice map[*Document]bool
	for _, doc := range t.Documents {
		id := doc.ID()
		first, ok := index[id]
		if !ok {
			index[id] = doc
			continue
		}
		if twice == nil {
			twice = map[*Document]bool{}
		}
		twice[first], twice[doc] = true, true
		if len(twice) <= maxTreeDiags {
			ds.Errorf(doc.At("metadata.name"), "duplicate-document", "%s is declared twice", id).Offending(id.Name).
				See(first.At("metadata.name"), "first declared here")
		}
	}
	if twice == nil {
		return
	}
	valid := make([]*Document, 0, len(t.Documents))
	for _, doc := range t.Documents {
		if !twice[doc] {
			valid = append(valid, doc)
			continue
		}
		t.Invalid = append(t.Invalid, doc)
	}
	t.Documents = valid
}

// parsedFile is what one file gave.
type parsedFile struct {
	name      string
	text      string
	documents []*Document
	invalid   []*Document
	diags     Diags
}

// budget is what a tree may still have. Whether it is spent does not depend on the order in
// which files are read, only how much of them is in memory by then.
type budget struct {
	size, documents int64
	read            atomic.Int64 // bytes
	decoded         atomic.Int64 // documents
	spent           atomic.Bool
}

func (b *budget) take(f *parsedFile) {
	if b.read.Add(int64(len(f.text))) > b.size || b.decoded.Add(int64(len(f.documents)+len(f.invalid))) > b.documents {
		b.spent.Store(true)
	}
}

// readAll reads files until there is no budget left; then some of the result is nil.
func readAll(tree fs.FS, files []string, cache *Cache, left *budget) []*parsedFile {
	results := make([]*parsedFile, len(files))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		wg.Go(func() {
			var r reader
			for {
				i := int(next.Add(1)) - 1
				if i >= len(files) || left.spent.Load() {
					return
				}
				results[i] = r.file(tree, files[i], cache)
				left.take(results[i])
			}
		})
	}
	wg.Wait()
	return results
}

// file reads a file, or takes it from the cache.
func (r *reader) file(tree fs.FS, name string, cache *Cache) *parsedFile {
	key := cacheKey{path: name}
	if b, ok := tree.(BlobFS); ok {
		if id, ok := b.BlobID(name); ok {
			key.blob = id
			if f := cache.find(key); f != nil {
				return f
			}
		}
	}
	text, fail := readFile(tree, name)
	if fail != nil {
		f := &parsedFile{name: name, invalid: []*Document{{File: name, Pos: Pos{name, 1, 1}}}}
		f.diags.Errorf(Pos{name, 1, 1}, fail.code, "%s", fail.message)
		return f
	}
	if key.blob == "" {
		key.text = text
		if f := cache.find(key); f != nil {
			return f
		}
	}
	f := r.parse(name, text)
	cache.store(key, f)
	return f
}

func (r *reader) parse(name, text string) *parsedFile {
	f := &parsedFile{name: name, text: text}
	chunks := split(strings.TrimPrefix(text, "\ufeff"))
	if len(chunks) > maxFileDocuments {
		f.diags.Errorf(Pos{name, 1, 1}, "too-large", "the file has more than %d documents; split it", maxFileDocuments)
		f.invalid = []*Document{{File: name, Pos: Pos{name, 1, 1}}}
		return f
	}
	dropped := 0
	for _, c := range chunks {
		ds, scratch := &f.diags, Diags(nil)
		if len(f.diags) > maxFileDiags {
			ds = &scratch
		}
		doc, valid := r.document(name, c, ds)
		dropped += len(scratch)
		switch {
		case valid:
			f.documents = append(f.documents, doc)
		case doc != nil:
			f.invalid = append(f.invalid, doc)
		}
	}
	f.diags.Sort()
	f.diags.cut(maxFileDiags, dropped)
	return f
}

type readError struct{ code, message string }

func readFile(tree fs.FS, name string) (string, *readError) {
	file, err := tree.Open(name)
	if err != nil {
		return "", &readError{"unreadable-file", "the file can not be read: " + err.Error()}
	}
	defer func() { _ = file.Close() }()
	size := int64(0)
	if st, err := file.Stat(); err == nil {
		size = st.Size()
	}
	if size <= maxFileSize {
		b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
		n, err := b.ReadFrom(io.LimitReader(file, maxFileSize+1))
		if err != nil {
			return "", &readError{"unreadable-file", "the file can not be read: " + err.Error()}
		}
		if n <= maxFileSize {
			return b.String(), nil
		}
	}
	return "", &readError{"too-large", "the file is larger than 16 MiB; split it"}
}
