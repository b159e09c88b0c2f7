"""kernel:NAME"""
