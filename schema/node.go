package schema

// A node is a value of a document as written, independent of the parser that read it. Nodes
// live in one slice per document and name each other by index, so that a parse is a few
// allocations only; index 0 is never a node and means none.
type node struct {
	value string // of a scalar, unquoted
	pos   Pos32
	kind  nodeKind
	style nodeStyle
	first int32 // first child; of a mapping keys and values alternate
	next  int32 // next sibling
}

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	mappingNode
	sequenceNode
)

func (k nodeKind) String() string {
	return [...]string{"a single value", "a mapping", "a list"}[k]
}

type nodeStyle uint8

const (
	plainStyle nodeStyle = iota
	quotedStyle
	blockStyle // | or >
)

// nodes is the arena of one document.
type nodes []node

func (ns *nodes) reset() {
	clear(*ns)
	*ns = append((*ns)[:0], node{})
}

func (ns *nodes) add(n node) int32 {
	*ns = append(*ns, n)
	return int32(len(*ns) - 1)
}

// appender links children to a parent in order.
type appender struct {
	ns     *nodes
	parent int32
	last   int32
}

func (a *appender) append(child int32) {
	if a.last == 0 {
		(*a.ns)[a.parent].first = child
	} else {
		(*a.ns)[a.last].next = child
	}
	a.last = child
}

// find returns the key and value of a mapping's entry, 0 when absent.
func (ns nodes) find(mapping int32, key string) (k, v int32) {
	if ns[mapping].kind != mappingNode {
		return 0, 0
	}
	for k := ns[mapping].first; k != 0; {
		v := ns[k].next
		if ns[k].value == key {
			return k, v
		}
		k = ns[v].next
	}
	return 0, 0
}
