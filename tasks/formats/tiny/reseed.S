# Credits 64 bytes of stdin to the kernel's random pool, and makes it draw a new key from there at once.
# With an argument it first sets the clock to that many seconds since 1970. Assembled by
# tests/formats/test_tiny_programs.py, whose bytes must be those of tiny_programs.reseed.
        .globl _start
_start: mov     0x10(%rsp), %rdi        # argv[1]
        test    %rdi, %rdi
        je      read
        xor     %eax, %eax              # the number in it
digit:  movzbl  (%rdi), %ecx
        sub     $'0', %ecx
        jb      set                     # anything below '0' ends it, as the final 0 byte does
        imul    $10, %rax, %rax
        add     %rcx, %rax
        inc     %rdi
        jmp     digit
set:    mov     $clock, %esi
        mov     %rax, (%rsi)            # tv_sec
        mov     $227, %eax              # clock_settime
        mov     $0, %edi                # CLOCK_REALTIME
        syscall
read:   mov     $0, %eax                # read
        mov     $0, %edi                # from stdin
        mov     $(pool + 8), %esi
        mov     $64, %edx
        syscall
        mov     $2, %eax                # open
        mov     $path, %edi
        mov     $2, %esi                # O_RDWR
        mov     $0, %edx
        syscall
        mov     %eax, %ebx              # the file
        mov     %ebx, %edi
        mov     $16, %eax               # ioctl
        mov     $0x40085203, %esi       # RNDADDENTROPY
        mov     $pool, %edx
        syscall
        mov     %ebx, %edi
        mov     $16, %eax               # ioctl
        mov     $0x5207, %esi           # RNDRESEEDCRNG
        mov     $0, %edx
        syscall
        mov     $60, %eax               # exit
        mov     $0, %edi
        syscall
path:   .asciz  "/dev/urandom"
        .zero   3
pool:   .long   64 * 8, 64              # struct rand_pool_info: bits, bytes, content
        .zero   64
clock:  .zero   16                      # struct timespec
