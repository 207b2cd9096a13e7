package schema

// Limits on what is read, so that a push can neither fill the memory of an agent nor keep it
// busy. Each is far above what people write and far below what hurts.
const (
	// maxFileSize: a file of 30,000 documents of usual size; larger ones can be split.
	maxFileSize = 16 << 20
	// maxTreeSize: a million documents of usual size; the text of a tree is kept in memory.
	maxTreeSize = 512 << 20
	// maxDocumentSize: a list of 10,000 CIDRs of IPv4 has about 200 KiB, one of both families
	// 400 KiB, and an ACL has several of them; user data has at most 32 KiB.
	maxDocumentSize = 4 << 20
	// maxDocuments: ten times the cloud that the figures are stated for.
	maxDocuments = 1_000_000
	// maxFileDocuments: 16 MiB of documents of 80 bytes, which is less than any has.
	maxFileDocuments = 200_000
	// maxFiles: one document a file.
	maxFiles = 1_000_000
	// maxNodes counts the values of one document after aliases are followed: every alias counts
	// what it stands for, so a bomb ends here.
	maxNodes = 200_000
	// maxAliases in one document; people use a handful.
	maxAliases = 200
	// maxDepth of nesting; the deepest field of the language is at 6.
	maxDepth = 32
	// maxDiags of one document; the rest of a broken one says nothing new.
	maxDiags = 100
	// maxFileDiags and maxTreeDiags: nobody reads more, and a tree of nothing but mistakes must
	// not take more memory than its text. The documents stay invalid all the same.
	maxFileDiags = 1000
	maxTreeDiags = 10_000
	// maxUserData is CloudStack's vm.userdata.max.length.
	maxUserData = 32768
)
