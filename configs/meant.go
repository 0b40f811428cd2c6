package configs

// meant is the word that a mistyped one is nearest to, or otherwise. At most
// two letters, and not half of the word, may be wrong.
func meant(typed string, words []string, otherwise string) string {
	if len(typed) > 100 {
		return otherwise
	}
	best, nearest := otherwise, 3
	for _, word := range words {
		if n := distance(typed, word); n < nearest && 2*n < len(word) {
			best, nearest = word, n
		}
	}
	return best
}

// distance counts the bytes to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
