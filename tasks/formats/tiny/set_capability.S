# Sets the file capabilities of argv[1] to what comes on stdin; ends with 0 when that went well, else with
# the error number. Assembled by tests/formats/test_tiny_programs.py, whose bytes must be those of
# tiny_programs.set_capability.
        .globl _start
_start: mov     $0, %eax                # read
        mov     $0, %edi                # from stdin
        mov     $value, %esi
        mov     $64, %edx
        syscall
        mov     %eax, %r10d             # how many bytes came
        mov     0x10(%rsp), %rdi        # argv[1]
        xor     %r8d, %r8d              # no flags
        mov     $188, %eax              # setxattr
        mov     $name, %esi
        mov     $value, %edx
        syscall
        mov     %eax, %edi              # -errno
        mov     $60, %eax               # exit
        syscall
value:  .zero   64
name:   .asciz  "security.capability"
