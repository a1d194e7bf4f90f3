cpdef object empty(tuple shape, object dtype)
cpdef release()
